"""Child process of a module: runs one command, tells progress and outcome as lines of JSON.

The application starts it with its own Python; it is the command line with another mouth, so the
numbers are the same.  Nothing here needs Slicer.
"""

import json
import sys
import traceback

from lungperfusion.__main__ import make_parser, termination_interrupts
from lungperfusion.arguments import check_values
from lungperfusion.errors import CancelledError, InputError
from lungperfusion.trouble import in_words
from lungperfusion_gui import sample_files, xenon_files


def tell(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def report(fraction, message):
    tell(progress=float(fraction), message=message)


def main(words):
    """Run a command; the last line tells how it ended."""
    try:
        with termination_interrupts():
            for made in (sample_files, xenon_files):
                if words[0] == made.WORD:
                    return made.run(words[1:], report)
            arguments = make_parser(words[0]).parse_args(words)
            check_values(arguments)
            from lungperfusion.io.scratch import sweep_scratch  # loads NumPy: may lack memory

            sweep_scratch()
            code = int(arguments.run(arguments, report))
    except InputError as error:
        tell(error=str(error))
        return 2
    except (CancelledError, KeyboardInterrupt):
        return 130
    except Exception as error:
        if trouble := in_words(error):
            tell(error=trouble)
            return 1
        if isinstance(error, ImportError):
            tell(error=f"a library is missing: {error}")
            return 1
        tell(error=f"unexpected {type(error).__name__}: {error}", details=traceback.format_exc())
        return 1
    tell(done=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
