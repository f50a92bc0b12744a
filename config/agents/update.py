#!/usr/bin/env python3
"""Takes crawlers.json and its licence from the npm package.

    npm pack crawler-user-agents
    python3 config/agents/update.py crawler-user-agents-*.tgz

`cargo test --lib enrich` afterwards says whether every example of the new list is still recognised.
"""

import pathlib
import sys
import tarfile

FOLDER = pathlib.Path(__file__).parent


def main(archive):
    with tarfile.open(archive) as tar:
        for name, target in (("crawler-user-agents.json", "crawlers.json"), ("LICENSE", "crawlers.LICENSE")):
            # As they are: the examples in the list are our test.
            (FOLDER / target).write_bytes(tar.extractfile(f"package/{name}").read())


if __name__ == "__main__":
    main(*sys.argv[1:])
