#!/usr/bin/env python3
"""Writes crawlers.json and uap.json from the npm packages they come from.

    npm pack crawler-user-agents uap-core
    python3 config/agents/update.py crawler-user-agents-*.tgz uap-core-*.tgz

Needs PyYAML. `cargo test --lib enrich` afterwards says whether every example of the new lists is still recognised.
"""

import json
import pathlib
import sys
import tarfile

import yaml

FOLDER = pathlib.Path(__file__).parent


def member(archive, name):
    with tarfile.open(archive) as tar:
        return tar.extractfile(f"package/{name}").read().decode()


def main(crawlers, uap):
    # As it is: the examples in it are our test.
    (FOLDER / "crawlers.json").write_text(member(crawlers, "crawler-user-agents.json"))
    (FOLDER / "crawlers.LICENSE").write_text(member(crawlers, "LICENSE"))
    # The device section is left out: it is larger than the two others together, and enrich/agent.rs needs five words only.
    # Versions are left out too: reports show families.
    regexes = yaml.safe_load(member(uap, "regexes.yaml"))
    kept = {
        "user_agent_parsers": [
            {key: value for key, value in entry.items() if key in ("regex", "family_replacement")}
            for entry in regexes["user_agent_parsers"]
        ],
        "os_parsers": [
            {key: value for key, value in entry.items() if key in ("regex", "os_replacement")}
            for entry in regexes["os_parsers"]
        ],
        "device_parsers": [],
    }
    (FOLDER / "uap.json").write_text(json.dumps(kept, indent=0, ensure_ascii=False) + "\n")
    (FOLDER / "uap.LICENSE").write_text(member(uap, "LICENSE"))


if __name__ == "__main__":
    main(*sys.argv[1:])
