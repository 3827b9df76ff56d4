// The style sheet of the HTML page. Data is grey; the one accent colour means "look here" and is
// the verdict's: green, vermilion or ochre, which differ in lightness too.
#ifndef BITANCHOR_LIB_FILE_HTML_STYLE_H_
#define BITANCHOR_LIB_FILE_HTML_STYLE_H_

namespace bitanchor {

inline constexpr const char* kHtmlStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #fcfbf8; --ink: #1c2228; --muted: #5f6871; --line: #dedad2; --card: #f4f2ec;
  --strong: #3d4654; --middle: #9aa6b5; --ground: #eceae4;
  --pass: #0a7355; --fail: #c2410c; --inconclusive: #8a6500;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e7e5e0; --muted: #9aa3ad; --line: #2e343b; --card: #1c2026;
    --strong: #c6cfdb; --middle: #6f7d8e; --ground: #252a31;
    --pass: #3fcf9f; --fail: #ff8552; --inconclusive: #e3b93c;
  }
}
.pass { --accent: var(--pass); } .fail { --accent: var(--fail); }
.inconclusive { --accent: var(--inconclusive); } .plain { --accent: var(--ink); }
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 60rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; print-color-adjust: exact;
}
h1, h2, h3, p, dl, dd, ul, figure, table { margin: 0; padding: 0; }
header { border-top: .3rem solid var(--accent); padding-top: 1.25rem; }
.brand { color: var(--muted); font-size: .875rem; }
h1 { color: var(--accent); font-size: clamp(2.25rem, 7vw, 3.25rem); line-height: 1.1; letter-spacing: -.02em; font-weight: 700; }
.lead { font-size: clamp(1.1rem, 2.6vw, 1.35rem); line-height: 1.4; margin-top: .5rem; max-width: 46rem; }
.kernel { color: var(--muted); margin-top: .5rem; }
section { margin-top: 2.75rem; } .quiet + .quiet { margin-top: 1rem; }
h2 { font-size: 1.25rem; line-height: 1.3; margin-bottom: .75rem; letter-spacing: -.01em; }
h2 small { color: var(--muted); font-size: .9rem; font-weight: 400; letter-spacing: 0; }
h3 { font-size: .9rem; font-weight: 600; margin: 0 0 .5rem; }
h3 small { color: var(--muted); font-weight: 400; }
.muted { color: var(--muted); } .muted, .key, figcaption { font-size: .85rem; }
.wrong { color: var(--accent); font-weight: 600; }
.card { background: var(--card); border-left: .25rem solid var(--accent); padding: 1rem 1.25rem; margin-top: .75rem; }
.card strong { font-size: 1.05rem; }
ul { padding-left: 1.15rem; } li + li { margin-top: .35rem; } li::marker { color: var(--accent); }
.halves { display: grid; gap: 1.75rem 2.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.thirds { display: grid; gap: 1rem 2.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr)); }
.problem { display: grid; gap: 2rem 3rem; grid-template-columns: minmax(0, 1fr) minmax(12rem, 17rem); }
@media (max-width: 44rem) { .problem { grid-template-columns: minmax(0, 1fr); } figure { max-width: 17rem; } }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .4rem 1.25rem; }
dt { color: var(--muted); } 
figcaption { color: var(--muted); margin-top: .5rem; }
figure > svg { display: block; width: 100%; height: auto; border: 1px solid var(--line); }
summary { cursor: pointer; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; line-height: 1.4; }
th { font-weight: 400; text-align: right; color: var(--muted); white-space: nowrap; }
thead th { font-size: .8rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; vertical-align: bottom; }
tbody th { text-align: left; color: var(--ink); }
td { text-align: right; white-space: nowrap; }
th, td { padding: .28rem 0 .28rem 1rem; } th:first-child, td:first-child { padding-left: 0; text-align: left; }
td.wide { width: 50%; min-width: 3.5rem; }
td.text, th.text { text-align: left; white-space: normal; }
table.narrow { width: auto; }
td.fraction { padding-left: 0; text-align: left; }
.histogram td, .histogram th { padding-top: .12rem; padding-bottom: .12rem; }
.overview tbody th { font-weight: 600; } a { color: inherit; text-underline-offset: .2em; text-decoration-color: var(--middle); }
.figures { display: flex; flex-wrap: wrap; gap: .35rem 2rem; margin-bottom: 1.25rem; }
.figures b { font-size: 1.15rem; font-weight: 600; } .figures span { color: var(--muted); font-size: .85rem; }
.more { margin-top: 1.5rem; }
svg.columns { display: block; width: 100%; height: 3rem; }
svg.bar { display: block; width: 100%; height: .7rem; }
.heatmap { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem .6rem; color: var(--muted); font-size: .8rem; }
.heads, .tokens { display: flex; justify-content: space-between; color: var(--muted); font-size: .8rem; } .heads { flex-direction: column; text-align: right; line-height: 1; }
svg.heat { display: block; width: 100%; height: clamp(2.25rem, calc(var(--rows) * 1rem), 16rem); }
.key { display: flex; flex-wrap: wrap; align-items: center; gap: .2rem 1.25rem; color: var(--muted); margin: .5rem 0 .15rem; }
.key svg { height: .75rem; width: auto; vertical-align: -.06rem; margin-right: .2rem; }
svg.strip { width: 6.25rem; height: .75rem; vertical-align: middle; }
.s-ground, .h-none { fill: var(--ground); } .s-exact, .mask-full { fill: var(--strong); } .s-within, .mask-partial { fill: var(--middle); }
.mask-empty { fill: var(--paper); }
.s-wrong, .got-out { fill: var(--accent); } .s-undetermined { fill: var(--muted); fill-opacity: .35; }
.h0 { fill: var(--middle); fill-opacity: .25; } .h1 { fill: var(--middle); fill-opacity: .5; } .h2 { fill: var(--middle); fill-opacity: .75; } .h3 { fill: var(--middle); }
.w0 { fill: var(--accent); fill-opacity: .45; } .w1 { fill: var(--accent); fill-opacity: .7; } .w2 { fill: var(--accent); }
.axis { stroke: var(--middle); fill: none; } .allowed { fill: var(--middle); fill-opacity: .45; } .got-in { fill: var(--ink); }
pre { background: var(--card); padding: 1rem 1.25rem; margin: 0; white-space: pre-wrap; font: .9rem/1.5 ui-monospace, "SFMono-Regular", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
footer { margin-top: 2.5rem; padding-top: .75rem; border-top: 1px solid var(--line); color: var(--muted); font-size: .8rem; }
@media (max-width: 32rem) {
  body { padding: 1.5rem 1rem 3rem; } th, td { padding-left: .6rem; } .roomy { display: none; }
}
@media print {
  :root { --paper: #fff; --ink: #000; --muted: #444; --line: #bbb; --card: #f4f4f4; --strong: #3d4654; --middle: #9aa6b5; --ground: #ececec; --pass: #0a7355; --fail: #c2410c; --inconclusive: #8a6500; }
  body { max-width: none; padding: 0; font-size: 10pt; } section { margin-top: 1.5rem; }
  h2, h3 { break-after: avoid; } tr, figure, .card, .heatmap, pre { break-inside: avoid; } .scroll { overflow: visible; }
}
)css";

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_HTML_STYLE_H_
