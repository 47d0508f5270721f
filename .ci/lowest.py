"""Print, for pip, the lowest versions that pyproject.toml allows of what .ci/rows needs."""

import re
import sys
import tomllib
from pathlib import Path

EXTRAS = ("embedded", "cli", "web")
# Of the extra `test`: what else these tests import follows from these, or is any version.
TOOLS = ("pytest", "pytest-asyncio", "pytest-xdist", "langgraph-checkpoint-conformance")
ANY = ("anyio", "hypothesis", "langchain")

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
needed = [*project["dependencies"], *(each for extra in EXTRAS for each in extras[extra])]
needed += [each for each in extras["test"] if re.split(r"[\[>]", each)[0] in TOOLS]
pins = {re.sub(r">=([^,]+).*", r"==\1", each) for each in needed}
if any("==" not in pin for pin in pins):
    sys.exit(f"a dependency has no lower bound: {sorted(pins)}")
print("\n".join([*sorted(pins), *ANY]))
