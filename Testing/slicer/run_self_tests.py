"""Run the self-tests of the three modules in the application.

    Slicer --testing --no-splash
      --additional-module-paths LungPerfusionLib PerfusionIPv CTVQ VesselBV
      --python-script Testing/slicer/run_self_tests.py

Ends with exit code 0 when all pass.
"""

import sys
import traceback

import slicer

MODULES = ("PerfusionIPv", "CTVQ", "VesselBV")


def main() -> int:
    """Run every test, whatever the others do."""
    passed = 0
    for name in MODULES:
        try:
            slicer.selfTests[name]()
        except Exception:
            traceback.print_exc()
        else:
            passed += 1
            print(f"{name}: passed", flush=True)
    print(f"{passed} of {len(MODULES)} self-tests passed", flush=True)
    return 0 if passed == len(MODULES) else 1


try:
    code = main()
except Exception:
    traceback.print_exc()
    code = 1
sys.stdout.flush()
slicer.util.exit(code)
