"""Look of the report: screen in light and dark, and A4 on paper."""

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --soft: #5b6470;
  --line: #d5dae0; --shade: #f3f5f7; --accent: #1f5f8b; --good: #1d6b3f; --look: #8a5300;
  --bad: #a3212e; --band: #bfe0cc; }
@media (prefers-color-scheme: dark) { @media screen { :root { --paper: #16191d; --ink: #e6e9ec;
  --soft: #a5aeb8; --line: #3a414a; --shade: #1f242a; --accent: #7fc1ec; --good: #74cf9b;
  --look: #f0bb62; --bad: #ff949d; --band: #2c5a40; } } }
* { box-sizing: border-box; }
html { font-size: 15px; }
body { margin: 0 auto; max-width: 62rem; padding: 1.2rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.42 "Segoe UI", "Helvetica Neue", Helvetica, Arial,
  "Liberation Sans", "DejaVu Sans Condensed", sans-serif; }
header { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .2rem 1.5rem;
  border-bottom: 2px solid var(--accent); padding-bottom: .4rem; }
h1 { font-size: 1.5rem; line-height: 1.15; margin: 0; }
h2 { font-size: 1.1rem; margin: 1.3rem 0 .4rem; color: var(--accent); }
h3 { font-size: .95rem; margin: .9rem 0 .3rem; }
p { margin: .3rem 0; }
.case { font-size: 1.05rem; margin: .1rem 0 0; }
.meta { color: var(--soft); font-size: .82rem; overflow-wrap: anywhere; }
.meta code { font-size: .95em; }
.notice { background: var(--shade); border-left: 4px solid var(--accent); padding: .3rem .6rem;
  margin: .6rem 0; font-size: .88rem; }
.soft, .notes, figcaption { color: var(--soft); font-size: .82rem; }
.notes { margin: .25rem 0 0; padding-left: 1.3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .88rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: .82rem; padding-bottom: .2rem; }
th, td { padding: .16rem .45rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: baseline; }
thead th { border-bottom: 1.5px solid var(--soft); font-weight: 600; vertical-align: bottom; }
thead th.n { white-space: normal; } tbody th { min-width: 7.5rem; }
tbody th { font-weight: 400; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.main { font-weight: 650; }
td.text { overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1.6rem; margin-top: .4rem; }
table.compared tbody { background: var(--shade); }
td.l { text-align: left; }
.na { color: var(--soft); font-weight: 400; }
.out { font-weight: 650; }
sup { font-size: .72em; line-height: 0; }
svg.bar { width: 6.6rem; height: .95rem; vertical-align: -.15rem; }
svg.icon { width: 1em; height: 1em; vertical-align: -.13em; }
ul { margin: .3rem 0; padding-left: 1.3rem; font-size: .9rem; }
ul.gates { list-style: none; padding: 0; margin: .2rem 0; columns: 2; column-gap: 1.6rem;
  font-size: .88rem; }
ul.gates li { break-inside: avoid; padding: .1rem 0 .1rem 1.45em; text-indent: -1.45em; }
.pass b { color: var(--good); } .warn b { color: var(--look); }
.fail b { color: var(--bad); } .unknown b { color: var(--soft); }
figure { margin: .5rem 0; display: inline-block; vertical-align: top; max-width: 100%; }
figure.part { margin-right: 1%; }
figure img { width: 100%; height: auto; display: block; border-radius: 3px; }
figure.chart img { background: #ffffff; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; margin: .3rem 0;
  font-size: .86rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 1.5rem; border-top: 1px solid var(--line); padding-top: .4rem;
  color: var(--soft); font-size: .82rem; }
@page { size: A4; margin: 9mm 12mm; }
@media print {
  html { font-size: 9.4pt; }
  body { padding: 0; max-width: none; line-height: 1.28;
    -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h1 { font-size: 15pt; } h2 { margin: 1.6mm 0 .6mm; break-after: avoid; }
  h3 { break-after: avoid; margin: 2mm 0 1mm; }
  th, td { padding: .25mm 1.2mm; }
  figure { margin: 1.5mm 0; break-inside: avoid; }
  .first figure.scan img { max-height: 58mm; object-fit: contain; background: #000000; }
  ul.gates, ul { font-size: .8rem; line-height: 1.2; margin: .5mm 0; }
  .notice { margin: 1.5mm 0; padding: .7mm 2mm; }
  tr { break-inside: avoid; }
  .wide { overflow: visible; }
  .first { break-after: page; }
}
@media screen and (max-width: 44rem) { .columns { grid-template-columns: 1fr; }
  ul.gates { columns: 1; } figure { width: 100% !important; } }
"""
