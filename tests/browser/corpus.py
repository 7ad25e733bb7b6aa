"""Text that runs where a page takes text for markup, an address or code: each sets `window.fired`."""

SCRIPT = "window.fired=true"

CORPUS = (
    f"<script>{SCRIPT}</script>",
    f"<img src=x onerror={SCRIPT}>",
    f"<svg/onload={SCRIPT}>",
    f'"><img src=x onerror="{SCRIPT}">',
    f"'><svg onload='{SCRIPT}'>",
    f"</pre></textarea></title></style></script><script>{SCRIPT}</script>",
    f"javascript:{SCRIPT}//",
    f"<a href=javascript:{SCRIPT}>x</a>",
    f"<iframe srcdoc='<script>parent.{SCRIPT}</script>'></iframe>",
    f'<details open ontoggle="{SCRIPT}">',
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={SCRIPT}>",
    f"${{{SCRIPT}}} #{{{SCRIPT}}} {{{{constructor.constructor('{SCRIPT}')()}}}}",
    f"--><!--<img src=x onerror={SCRIPT}>",
    "<base href=//elsewhere.example/><meta http-equiv=refresh content='0;url=//elsewhere.example'>",
    "<style>*{background:url(//elsewhere.example)}</style><link rel=stylesheet href=//elsewhere.example/x.css>",
    "\u202egnp.exe\u2066 \u0000\ufffe %3Cscript%3E &lt;script&gt; \\u003cscript\\u003e",
)

EVERYTHING = " ".join(CORPUS)

MADE_OF_TEXT = (
    "#app :is(script, iframe, object, embed, base, meta, style, link, math, [onerror], [onload], [ontoggle], [srcdoc])"
)
"""What no page of ours has, wherever it came from."""
