// SPDX-License-Identifier: Apache-2.0
#include "search/report/page_assets.h"

namespace forall {

// The member, knee and doubt colours are Okabe and Ito's blue, vermilion and orange, shifted to
// keep a contrast of 4.5 on either ground; the stages' are Paul Tol's "light" scheme, made for dark
// text.
const char kPageStyle[] = R"css(
:root{
  color-scheme:light dark;
  --bg:#f7f7f4; --card:#fff; --ink:#1a1f24; --muted:#5a636d; --faint:#8b949d; --line:#e2e4df;
  --grid:#ecede9; --member:#0067a8; --knee:#c2410c; --other:#7f8a95; --good:#10704f; --doubt:#8a5a00;
  --bad:#b42318; --tint:#f1f5f8; --knee-tint:#fdf3ec; --code:#f3f4f0; --shadow:0 1px 2px #0000000d;
  --sans:"Inter","Segoe UI Variable Text","Segoe UI",system-ui,-apple-system,"Helvetica Neue","Noto Sans",Arial,sans-serif;
  --mono:ui-monospace,"SF Mono","Cascadia Mono","JetBrains Mono","DejaVu Sans Mono",Menlo,Consolas,monospace;
}
@media (prefers-color-scheme:dark){:root{
  --bg:#0f1317; --card:#161b20; --ink:#e6eaee; --muted:#a0abb6; --faint:#76818c; --line:#2a3138;
  --grid:#222930; --member:#5ab4ef; --knee:#ff9a5c; --other:#7d8996; --good:#5fcf9f; --doubt:#e5b14c;
  --bad:#ff8a80; --tint:#1b232b; --knee-tint:#2a2019; --code:#12171b; --shadow:none;
}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 var(--sans);
  font-feature-settings:"kern","liga"}
main{max-width:1220px;margin:0 auto;padding:56px 28px 72px}
h1{font-size:2.35rem;line-height:1.15;letter-spacing:-.022em;font-weight:680;margin:.1em 0 .2em;
  overflow-wrap:anywhere}
h2{font-size:1.3rem;letter-spacing:-.012em;font-weight:650;margin:0 0 .15em}
h3{font-size:1rem;font-weight:650;margin:1.4em 0 .5em}
p{margin:.5em 0 .9em;max-width:74ch}
a{color:var(--member);text-decoration-thickness:1px;text-underline-offset:2px}
code,pre{font-family:var(--mono);font-size:.86em}
small{font-size:.8em;color:var(--muted)}
em{font-style:normal;font-weight:600;color:var(--knee)}
section{margin-top:60px}
section>.sub{color:var(--muted);margin-top:0}
.kicker{margin:0;font-size:.78rem;letter-spacing:.09em;text-transform:uppercase;color:var(--muted);font-weight:600}
.byline{color:var(--muted);margin:0 0 1.4em}
.lead{font-size:1.14rem;line-height:1.5;max-width:70ch}
.notice{border-left:3px solid var(--doubt);background:var(--card);padding:.65em 1em;border-radius:0 8px 8px 0}
.note,figcaption{font-size:.86rem;color:var(--muted)}
.empty{color:var(--muted)}
.place{min-width:12em}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;box-shadow:var(--shadow);margin:16px 0}
.scroll{overflow-x:auto}

.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:1px;margin:28px 0 0;
  background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden}
.tile{background:var(--card);padding:14px 18px 13px}
.tile dt{font-size:.8rem;color:var(--muted);line-height:1.35}
.tile dd{margin:5px 0 0;font-size:1.2rem;font-weight:620;white-space:nowrap;letter-spacing:-.012em;font-variant-numeric:tabular-nums;
  line-height:1.25}
.tile small{font-weight:400;letter-spacing:0;font-size:.85rem;margin-left:.4em}

.plot{padding:16px 20px 14px;position:relative}
.plot svg{display:block;width:100%;height:auto}
.plot figcaption{margin:.4em 4px 0;max-width:110ch}
.plot-head{display:flex;flex-wrap:wrap;justify-content:space-between;gap:8px 24px;font-size:.85rem;margin:0 4px 10px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;list-style:none;margin:0;padding:0;color:var(--muted)}
.legend li{display:flex;align-items:center;gap:6px}
.legend svg{width:22px;height:14px}
.controls{display:flex;flex-wrap:wrap;gap:6px 16px;color:var(--muted);align-items:center}
#axis-choice:not([hidden]){display:flex;flex-wrap:wrap;gap:6px 16px}
select{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:6px;padding:2px 6px;max-width:21em}
#all-bars{position:absolute;opacity:0;width:1px;height:1px}
.toggle{cursor:pointer;border:1px solid var(--line);border-radius:99px;padding:2px 11px;user-select:none}
#all-bars:checked~.plot-head .toggle{color:var(--card);background:var(--muted);border-color:var(--muted)}
#all-bars:focus-visible~.plot-head .toggle{outline:2px solid var(--member);outline-offset:2px}
.frame line{stroke:var(--grid)}
.frame .base{fill:none;stroke:var(--faint)}
.plot text{font-family:var(--sans);fill:var(--muted)}
.tick{font-size:12.5px;font-variant-numeric:tabular-nums}
.label{font-size:13.5px;font-weight:550}
.plot .label{fill:var(--ink)}
.mid{text-anchor:middle}.end{text-anchor:end}
.area{fill:var(--member);opacity:.055}
.steps{fill:none;stroke:var(--member);stroke-width:1.8;stroke-linejoin:round}
.random-band{fill:var(--other);opacity:.2}
.random-mean{fill:none;stroke:var(--other);stroke-width:1.6;stroke-dasharray:6 4}
.bars{fill:none;stroke-width:1.2}
.member-bars{stroke:var(--member);opacity:.65}
.other-bars{stroke:var(--other);opacity:.28;display:none}
#all-bars:checked~.drawing .other-bars{display:inline}
.bound{fill:none;stroke:var(--doubt);stroke-width:1.4;stroke-dasharray:6 4}
.others circle,.others path{fill:var(--other);opacity:.5}
.crowd circle,.crowd path{opacity:.3}
.crowd circle{r:2.4px}
.others .cross{fill:none;stroke:var(--other);stroke-width:1.3;opacity:.75}
.member circle,.member path{fill:var(--member);stroke:var(--card);stroke-width:1.6}
.member.contested circle,.member.contested path{fill:var(--card);stroke:var(--member);stroke-width:2.2}
.member.knee circle,.member.knee path{fill:var(--knee)}
.member.knee.contested circle,.member.knee.contested path{fill:var(--card);stroke:var(--knee)}
.member.knee .ring{fill:none;stroke:var(--knee);stroke-width:2}
.form circle,.form path{fill:none;stroke:var(--muted);stroke-width:1.6}
a.member{cursor:pointer}
svg [data-i].hover circle,svg circle[data-i].hover,svg path[data-i].hover,svg .member.hover path{stroke:var(--ink);stroke-width:2;opacity:1}
.numbers text{font-size:11.5px;fill:var(--muted);font-variant-numeric:tabular-nums;pointer-events:none;
  paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
.plot .numbers .knee{fill:var(--knee);font-weight:650;font-size:13px}
.last{fill:var(--member)}
.plot .value{fill:var(--member);font-size:13.5px;font-weight:650;font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(440px,100%),1fr));gap:0 16px}
.agree{fill:none;stroke:var(--faint);stroke-dasharray:5 5}
.forecasts circle{fill:var(--member);opacity:.6}
.forecasts path{fill:none;stroke:var(--member);opacity:.25}
#tip{position:fixed;z-index:9;pointer-events:none;background:var(--ink);color:var(--bg);border-radius:8px;
  padding:9px 12px;font-size:.82rem;line-height:1.45;max-width:400px;box-shadow:0 6px 24px #0004}
#tip b{display:block}
#tip table{width:auto;margin-top:4px}
#tip td{padding:0 10px 0 0;border:0;font-size:.8rem;background:none}
#tip td+td{padding:0;text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}

table{border-collapse:collapse;width:100%;font-size:.84rem;line-height:1.35}
th,td{padding:9px 9px;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
thead th{font-weight:600;font-size:.8rem;color:var(--muted);white-space:nowrap;vertical-align:bottom;padding-top:12px}
thead small{display:block;font-weight:400}
thead .objective{color:var(--ink)}
tr>:first-child{padding-left:20px}
tr>:last-child{padding-right:20px}
tbody tr:last-child>*{border-bottom:0}
tbody th{font-weight:500;color:var(--muted)}
td b{font-weight:600}
td>small{display:block;white-space:nowrap;margin-top:2px}
td>small.why{white-space:normal}
.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.none{color:var(--faint)}
.frontier .net{white-space:nowrap}
.frontier tbody tr:hover>*{background:var(--tint)}
.frontier tr.knee>*{background:var(--knee-tint)}
.frontier tr>:first-child{padding-left:14px}
.frontier tr>:last-child{padding-right:14px}
.frontier tr:target>*{background:var(--tint);box-shadow:inset 0 2px var(--member),inset 0 -2px var(--member)}
.badge{display:inline-flex;align-items:center;gap:6px;font-size:.93em;white-space:nowrap}
.badge::before{content:"";width:8px;height:8px;border-radius:50%;border:2px solid currentColor}
.badge.trusted{color:var(--good)}.badge.noisy{color:var(--doubt)}.badge.rejected{color:var(--bad)}
.badge.noisy::before{border-radius:0}
.badge.rejected::before{width:0;height:0;border-radius:0;border:5px solid transparent;border-top-width:0;
  border-bottom:9px solid currentColor}
.badge.trusted::before,.badge.noisy::before{background:currentColor}
.badge.good{color:var(--good)}.badge.good::before{background:currentColor}
.badge.doubt{color:var(--doubt)}
.keys span{display:flex;gap:7px;align-items:baseline;white-space:nowrap;line-height:1.45}
.keys i{font-style:normal;font-size:.77em;color:var(--muted);width:3em}
.keys code{cursor:help;font-size:.8em}

.drawings{list-style:none;margin:0;padding:0}
.drawings li{display:grid;grid-template-columns:150px 1fr;gap:8px 20px;align-items:center;padding:14px 20px 12px;
  border-bottom:1px solid var(--line)}
.drawings li:last-child{border-bottom:0}
.drawings small{display:block;line-height:1.45;margin-top:3px;font-variant-numeric:tabular-nums}
.drawings a{font-weight:600;text-decoration:none}
.drawings+details{border-top:1px solid var(--line)}
summary{cursor:pointer;color:var(--member);padding:12px 20px;font-size:.92rem}
section>details>summary{padding-left:0}
.blocks{display:block;width:100%;max-width:860px;height:auto}
.blocks text{font-family:var(--sans);font-size:10.5px;fill:#14181c;font-variant-numeric:tabular-nums;pointer-events:none}
.blocks .shape,.blocks .expansion,.blocks .depth{fill:var(--muted)}
.blocks .resolution{font-size:20px;font-weight:600;fill:var(--ink)}
.blocks .depth{font-weight:600;font-size:11px}
.flow{fill:none;stroke:var(--line);stroke-width:2}
.s0 rect{fill:#77aadd}.s1 rect{fill:#99ddff}.s2 rect{fill:#44bb99}.s3 rect{fill:#bbcc33}
.s4 rect{fill:#eedd88}.s5 rect{fill:#ee8866}.s6 rect{fill:#ffaabb}.s7 rect{fill:#aaaa00}

.prefers{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(270px,100%),1fr));gap:0 16px;align-items:start}
.prefer th,.prefer td{padding:4px 5px;border:0;vertical-align:middle}
.prefer thead th{padding:11px 5px 6px;vertical-align:bottom}
.prefer tr>:first-child{padding-left:16px}
.prefer tr>:last-child{padding-right:16px}
.prefer thead th:first-child{color:var(--ink);font-size:.88rem}
.prefer thead small{font-size:.76rem;line-height:1.2}
.prefer tbody tr:last-child>*{padding-bottom:13px}
.prefer tbody th{width:1%;white-space:nowrap;font-variant-numeric:tabular-nums;color:var(--ink)}
.prefer tbody .num{width:1%}
.prefer tbody .num:last-child{color:var(--muted)}
.prefer svg{display:block;width:100%;height:13px;background:var(--tint)}
.prefer rect{fill:var(--member);opacity:.75}
.prefer path{stroke:var(--ink);stroke-width:2;vector-effect:non-scaling-stroke}

.devices{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:16px;margin:16px 0}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:0 16px;align-items:start}
.device{margin:0;padding:14px 20px 16px}
.device h3{margin:0}
.device p{margin:2px 0 10px;color:var(--muted);font-size:.9rem;overflow-wrap:anywhere}
.device dl,.facts{margin:0;font-size:.86rem}
.device dl{columns:2 290px;column-gap:48px}
.device dl div{break-inside:avoid}
.device dl div,.facts div{display:grid;grid-template-columns:9.5em 1fr;gap:10px;padding:3px 0}
.facts div{grid-template-columns:19em 1fr;padding:6px 0;border-bottom:1px solid var(--line)}
.device dt,.facts dt{color:var(--muted);overflow-wrap:anywhere}
.device dd,.facts dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}
.facts{margin:18px 0}
.method{columns:3 320px;column-gap:44px;margin:18px 0 0;font-size:.93rem}
.method div{break-inside:avoid;margin-bottom:22px}
.method dt{font-weight:650;margin-bottom:3px}
.method dd{margin:0;color:var(--muted)}
.method dd b{color:var(--ink);font-weight:600}
pre{background:var(--code);border:1px solid var(--line);border-radius:10px;padding:14px 18px;overflow-x:auto;line-height:1.55;
  margin:10px 0;tab-size:2}
footer{margin-top:64px;padding-top:16px;border-top:1px solid var(--line);font-size:.84rem;color:var(--muted)}
@media (max-width:640px){
  main{padding:32px 16px 48px}
  h1{font-size:1.8rem}
  .drawings li{grid-template-columns:1fr}
  .facts div,.device dl div{grid-template-columns:1fr;gap:0}
  .devices,.pair{grid-template-columns:1fr}
  .drawing{overflow-x:auto;margin:0 -20px;padding:0 8px}
  .drawing svg{width:660px}
  .drawing .tick{font-size:17px}
  .drawing .label{font-size:18px}
  .drawing .numbers text,.plot .drawing .numbers .knee{font-size:18px}
}
@media print{
  :root{--bg:#fff;--card:#fff;--ink:#000;--muted:#444;--faint:#888;--line:#ccc;--grid:#e8e8e8;--member:#0067a8;
    --knee:#c2410c;--other:#7f8a95;--tint:#fff;--knee-tint:#fdf3ec;--code:#fafafa}
  main{max-width:none;padding:0}
  .controls,#tip{display:none}
  section{margin-top:32px}
  tr,li,figure,.device{break-inside:avoid}
  .frontier th,.frontier td{padding:4px 5px;font-size:.7rem}
}
)css";

}  // namespace forall
