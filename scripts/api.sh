#!/usr/bin/env bash
# Writes the public API of each library to api/MODULE.txt, a line for each declaration and each conformance; with --check tells
# what differs from what is written there. A change of the API shows in the review of its commit so.
set -euo pipefail
cd "$(dirname "$0")/.."
modules=(DistributedLocks EmbeddedLocks RedisLocks ZooKeeperLocks LockURLs LockTesting Fencing FencingGRDB FencingHummingbird)

graphs="$(swift build --enable-all-traits --show-bin-path)/../symbolgraph"
# It keeps the graphs of modules that are no more.
rm -rf "$graphs"
swift package --enable-all-traits dump-symbol-graph --minimum-access-level public --skip-synthesized-members >/dev/null
exec python3 - "${1:-}" "$graphs" "${modules[@]}" <<'PYTHON'
import difflib, json, pathlib, sys

check, graphs = sys.argv[1] == "--check", pathlib.Path(sys.argv[2])
differs = False
for module in sys.argv[3:]:
    lines = set()
    # MODULE@OTHER has what a module adds to another one's types.
    for file in [graphs / f"{module}.symbols.json", *graphs.glob(f"{module}@*.symbols.json")]:
        if not file.exists():
            sys.exit(f"{file} is missing")
        owner = file.name.removesuffix(".symbols.json").partition("@")[2]
        graph = json.loads(file.read_text())
        paths = {}
        for symbol in graph["symbols"]:
            text = "".join(part["spelling"] for part in symbol.get("declarationFragments", []))
            path = ".".join(([owner] if owner else []) + symbol["pathComponents"])
            paths[symbol["identifier"]["precise"]] = path
            lines.add(f"{path}: {' '.join(text.split())}")
        for relation in graph["relationships"]:
            path = paths.get(relation["source"])
            if relation["kind"] != "conformsTo" or path is None:
                continue
            other = relation.get("targetFallback") or paths.get(relation["target"], relation["target"])
            # Follows from Sendable.
            if other != "Swift.SendableMetatype":
                lines.add(f"{path} conforms to {other}")
    new = sorted(lines)
    target = pathlib.Path("api") / f"{module}.txt"
    if check:
        if not target.exists():
            sys.exit(f"{target} is missing: run ./scripts/api.sh, and commit it")
        old = target.read_text().splitlines()
        change = [line for line in difflib.unified_diff(old, new, lineterm="", n=0) if line[:2] not in ("--", "++", "@@")]
        if change:
            differs = True
            print(f"{target}:", *change, sep="\n")
    else:
        target.parent.mkdir(exist_ok=True)
        target.write_text("\n".join(new) + "\n")
        print(f"{target}: {len(new)} declarations")
if differs:
    sys.exit("the public API has changed: run ./scripts/api.sh, and say in the commit what users have to do")
PYTHON
