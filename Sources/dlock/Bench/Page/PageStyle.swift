/// The page's style: light and dark, on paper and on a phone. Nothing is loaded from anywhere.
enum PageStyle {
    static let text = """
        :root {
          --ink: #17202b; --soft: #5b6675; --paper: #f6f7f9; --card: #ffffff; --rule: #dde2e8; --grid: #e8ecf0;
          --accent: #e8f1fb;
          --c0: #1f6fd1; --c1: #d4561a; --c2: #13845c; --c3: #8a45b8; --c4: #a67a0a; --c5: #0c7d8f;
        }
        @media screen and (prefers-color-scheme: dark) {
          :root {
            --ink: #e6eaf0; --soft: #9aa6b5; --paper: #10151b; --card: #181f28; --rule: #2b3542; --grid: #242d38;
            --accent: #17273a;
            --c0: #5aa2f5; --c1: #f0884f; --c2: #3fbf8f; --c3: #bf86e8; --c4: #d9ad3c; --c5: #3fbccd;
          }
        }
        * { box-sizing: border-box; }
        html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
        body {
          margin: 0 auto; padding: 28px 16px 40px; max-width: 1240px; background: var(--paper); color: var(--ink);
          font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif;
        }
        h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 4px; text-wrap: balance; }
        h2 { font-size: 1.2rem; margin: 36px 0 12px; }
        h2 + .soft { margin: -6px 0 12px; font-size: 0.875rem; }
        h3 { font-size: 1rem; line-height: 1.35; margin: 0; }
        p, ul { margin: 8px 0; }
        ul { padding-left: 1.2em; }
        li { margin: 4px 0; }
        a { color: inherit; }
        code { font: 0.875em/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
        .soft { color: var(--soft); }
        .sub { color: var(--soft); margin: 0 0 20px; overflow-wrap: anywhere; }
        .card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 16px; }
        .answer { background: var(--accent); border-color: transparent; padding: 20px; }
        .answer h2 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 14px; text-wrap: balance; }
        .grid { display: grid; gap: 16px; grid-template-columns: repeat(3, minmax(0, 1fr)); }
        .pick { margin: 0; }
        .pick .situation { color: var(--soft); font-size: 0.875rem; line-height: 1.4; margin: 0 0 4px; }
        .pick .choice { font-size: 1.15rem; font-weight: 700; line-height: 1.3; margin: 0 0 8px; }
        .pick p { font-size: 0.9375rem; }
        .change { margin-top: 18px; }
        .change h3 { margin-bottom: 4px; }
        .change li { font-size: 0.9375rem; }
        figure { margin: 0; display: flex; flex-direction: column; }
        figcaption { margin-bottom: 12px; }
        figcaption p { color: var(--soft); font-size: 0.8125rem; line-height: 1.4; margin: 4px 0 0; }
        svg.plot { display: block; width: 100%; height: auto; margin-top: auto; overflow: visible; }
        .s0 { --c: var(--c0); } .s1 { --c: var(--c1); } .s2 { --c: var(--c2); }
        .s3 { --c: var(--c3); } .s4 { --c: var(--c4); } .s5 { --c: var(--c5); }
        svg text { fill: var(--ink); font-size: 13px; }
        svg .label { font-weight: 600; }
        svg .detail { fill: var(--soft); font-weight: 400; font-size: 12px; }
        svg .value { font-weight: 600; font-size: 13px; }
        svg .small { font-size: 12px; }
        svg .tick, svg .unit { fill: var(--soft); font-size: 11px; }
        svg .grid { stroke: var(--grid); stroke-width: 1; }
        svg .bar { fill: var(--c); }
        svg .whisker { stroke: var(--ink); stroke-width: 1.2; opacity: 0.7; }
        svg .span { stroke: var(--c); stroke-width: 3; opacity: 0.45; }
        svg .leader { stroke: var(--soft); stroke-width: 0.7; }
        svg .dot { fill: var(--c); stroke: var(--card); stroke-width: 1.2; }
        svg .dot.open { fill: var(--card); stroke: var(--c); stroke-width: 1.8; }
        svg .single { fill: var(--c); opacity: 0.22; }
        .scroll { overflow-x: auto; }
        .scroll:focus-visible { outline: 2px solid var(--c0); outline-offset: 2px; }
        table { border-collapse: collapse; width: 100%; font-size: 0.875rem; line-height: 1.4; }
        .caption { color: var(--soft); font-size: 0.8125rem; margin: 0 0 8px; }
        th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
        th { font-weight: 600; }
        thead th { color: var(--soft); }
        tr:last-child > * { border-bottom: 0; }
        .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
        .figures td, .figures th { white-space: nowrap; }
        .figures td:last-child { white-space: normal; min-width: 11em; }
        .figures td.number:last-child { min-width: 0; }
        .promises th { white-space: nowrap; }
        .promises td { min-width: 11em; }
        .swatch { display: inline-block; width: 0.7em; height: 0.7em; border-radius: 2px; background: var(--c); margin-right: 6px; }
        @media (max-width: 1080px) { .grid { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
        @media (max-width: 720px) {
          body { padding: 16px 12px 28px; }
          h1 { font-size: 1.4rem; }
          .grid { grid-template-columns: minmax(0, 1fr); }
          .answer, .card { padding: 14px; }
          .answer h2 { font-size: 1.15rem; }
        }
        @page { size: A4 landscape; margin: 10mm; }
        @media print {
          :root { --paper: #ffffff; --accent: #eef4fb; }
          body { padding: 0; max-width: none; font-size: 9.5pt; }
          h1 { font-size: 15pt; }
          h2 { font-size: 12pt; margin: 8px 0 4px; break-after: avoid; }
          h2 + .soft { font-size: 8pt; margin: 0 0 6px; break-after: avoid; }
          .answer h2 { font-size: 12.5pt; margin-bottom: 8px; }
          .pick p, .change li, .pick .situation { font-size: 8.5pt; line-height: 1.35; margin: 3px 0; }
          .pick .choice { font-size: 11pt; }
          .change { margin-top: 8px; }
          .grid { grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px; }
          .card { padding: 8px; }
          figcaption { margin-bottom: 6px; }
          figure, .plots, .pick, li, p, tr { break-inside: avoid; }
          svg.plot { max-height: 245px; }
          h3 { font-size: 8.5pt; }
          figcaption p { font-size: 7.5pt; }
          .scroll { overflow: visible; }
          table { font-size: 7pt; }
          th, td { padding: 3px 7px 3px 0; }
          .figures td:last-child { min-width: 0; }
          .promises td { min-width: 0; }
          .promises th { white-space: normal; }
          * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
        }
        """
}
