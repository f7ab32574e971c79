"""The rules between crates (design: "Rules between crates"), checked against the output of `cargo metadata`.

Reads the metadata from standard input, prints every broken rule, and exits with 1 if there is one.
"""

import json
import sys

# member -> members it may depend on. A member that is not listed here breaks the rules by itself.
MAY_DEPEND_ON = {
    "slipway-common": set(),
    "slipway-api": {"slipway-common"},
    "slipway-cluster": {"slipway-common"},
    "slipway-gitlab": {"slipway-common"},
    "slipway-worker": {"slipway-common", "slipway-cluster", "slipway-gitlab"},
    "slipway-scaler": {"slipway-common", "slipway-cluster"},
    "slipway-gateway": {"slipway-common"},
    "slipway-cli": {
        "slipway-common",
        "slipway-cluster",
        "slipway-gitlab",
        "slipway-api",
        "slipway-worker",
        "slipway-scaler",
        "slipway-gateway",
    },
    "slipway-integration-tests": {
        "slipway-common",
        "slipway-cluster",
        "slipway-gitlab",
        "slipway-api",
        "slipway-worker",
        "slipway-scaler",
        "slipway-gateway",
        "slipway-cli",
    },
}

# adapter -> members that may depend on it. The integration tests look at effects from outside.
ADAPTERS = {
    "actix-web": {"slipway-api"},
    "lapin": {"slipway-common", "slipway-integration-tests"},
    "redis": {"slipway-common", "slipway-integration-tests"},
    "gix": {"slipway-worker"},
    "kube": {"slipway-cluster", "slipway-worker", "slipway-scaler", "slipway-integration-tests"},
    "bollard": {"slipway-worker", "slipway-scaler", "slipway-gateway", "slipway-integration-tests"},
}

# member -> packages that may be nowhere in its tree.
NOT_IN_TREE = {
    "slipway-common": {"actix-web", "gix", "kube", "bollard"},
    "slipway-cluster": {"actix-web", "gix", "bollard"},
    "slipway-gitlab": {"actix-web", "gix", "kube", "bollard"},
    "slipway-api": {"gix", "kube", "bollard"},
}


def tree(nodes, root):
    """Every package that `root` is built from, tests left out."""
    seen, todo = set(), [root]
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        for dependency in nodes[node]["deps"]:
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    return seen


def broken_rules(metadata):
    """One sentence for every broken rule."""
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    members = {names[member]: member for member in metadata["workspace_members"]}
    direct = {
        package["name"]: {dependency["name"] for dependency in package["dependencies"]}
        for package in metadata["packages"]
        if package["id"] in metadata["workspace_members"]
    }
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

    for member in sorted(members):
        if member not in MAY_DEPEND_ON:
            yield f"{member} is not known to the rules; say in scripts/check_crates.py what it may depend on"
            continue
        for other in sorted((direct[member] & set(members)) - MAY_DEPEND_ON[member]):
            yield f"{member} depends on {other}"
        for adapter in sorted(direct[member] & set(ADAPTERS)):
            if member not in ADAPTERS[adapter]:
                yield f"{member} depends on {adapter}, which belongs to {', '.join(sorted(ADAPTERS[adapter]))}"
    for member, unwanted in sorted(NOT_IN_TREE.items()):
        if member in members:
            found = {names[package] for package in tree(nodes, members[member])}
            for package in sorted(found & unwanted):
                yield f"the tree of {member} holds {package}"


def main():
    broken = list(broken_rules(json.load(sys.stdin)))
    for rule in broken:
        print(f"crate rule broken: {rule}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
