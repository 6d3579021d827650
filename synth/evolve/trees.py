"""Tree-Instruct (arXiv 2308.05696): an instruction's semantic tree gets more nodes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from synth.evolve.instruction import instruction, read
from synth.flow.item import Item
from synth.flow.window import Window

TREE_SCHEMA = {
    "type": "object",
    "properties": {
        "nodes": {
            "type": "array",
            "minItems": 1,
            "maxItems": 400,
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer"},
                    "label": {"type": "string", "minLength": 1, "maxLength": 200},
                    "parent": {"type": ["integer", "null"]},
                },
                "required": ["id", "label", "parent"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["nodes"],
    "additionalProperties": False,
}

Tree = list[dict[str, Any]]


def rewritten(window: Window, settings: Any, items: Sequence[Item]) -> list[Item]:
    """Instructions of trees with `settings.nodes` more nodes, as `text`; the columns `nodes_before`
    and `nodes` count them."""
    trees = _trees(window, settings, items)
    grown = _grown(window, settings, trees)
    asked = window.prompts.get("linearise")
    groups = window.generate(
        "linearise",
        grown,
        lambda item: asked.fill({"prompt": instruction(item), "tree": _shown(item.value)}),
        parse=read,
    )
    kept = []
    for child in (child for group in groups for child in group):
        child.text = child.value
        new, old = child.parent.value, child.parent.parent.value
        share = mentioned(_labels(new), child.text)
        if share < settings.min_mentioned:
            window.reject(child, "linearise:left_out", f"{share:.0%} of the tree are mentioned")
        else:
            child.columns = {**child.columns, "nodes_before": len(old), "nodes": len(new)}
            kept.append(child)
    return kept


def read_tree(value: Mapping[str, Any]) -> Tree:
    """The nodes of an answer. Raises ValueError where they are no tree."""
    seen: set[int] = set()
    for place, node in enumerate(value["nodes"]):
        if node["id"] in seen:
            raise ValueError(f"there are two nodes {node['id']}")
        if place == 0 and node["parent"] is not None:
            raise ValueError("the first node is not the root, whose parent is null")
        if place > 0 and node["parent"] not in seen:
            raise ValueError(
                f"node {node['id']} hangs on {node['parent']}, which does not stand before it"
            )
        seen.add(node["id"])
    return value["nodes"]


def kept_share(old: Tree, new: Tree) -> float:
    """Share of the old tree's nodes whose labels the new one still has."""
    before, after = Counter(_labels(old)), Counter(_labels(new))
    return (before & after).total() / before.total()


def mentioned(labels: Sequence[str], text: str) -> float:
    """Share of the labels all of whose words occur in the text, in some form."""
    text = " ".join(text.casefold().split())
    found = sum(all(_stem(word) in text for word in re.findall(r"\w+", label)) for label in labels)
    return found / len(labels)


def _trees(window: Window, settings: Any, items: Sequence[Item]) -> list[Item]:
    asked = window.prompts.get("tree")
    groups = window.generate(
        "tree",
        items,
        lambda item: asked.fill({"prompt": instruction(item)}),
        schema=TREE_SCHEMA,
        parse=read_tree,
    )
    trees = []
    for tree in (child for group in groups for child in group):
        share = mentioned(_labels(tree.value), instruction(tree))
        if share < settings.min_mentioned:
            detail = f"{share:.0%} of the tree stand in the instruction"
            window.reject(tree, "tree:another_instruction", detail)
        else:
            trees.append(tree)
    return trees


def _grown(window: Window, settings: Any, trees: Sequence[Item]) -> list[Item]:
    """Trees with enough more nodes, and nearly all of the old ones."""
    asked = window.prompts.get("grow")
    groups = window.generate(
        "grow",
        trees,
        lambda item: asked.fill(
            {"prompt": instruction(item), "tree": _shown(item.value), "number": settings.nodes}
        ),
        schema=TREE_SCHEMA,
        parse=read_tree,
    )
    grown = []
    for child in (child for group in groups for child in group):
        old, new = child.parent.value, child.value
        share = kept_share(old, new)
        if len(new) < len(old) + settings.nodes:
            window.reject(child, "grow:too_few_nodes", f"{len(old)} became {len(new)}")
        elif share < settings.min_kept_nodes:
            window.reject(child, "grow:lost_nodes", f"{share:.0%} are kept")
        else:
            grown.append(child)
    return grown


def _shown(tree: Tree) -> str:
    return orjson.dumps({"nodes": tree}).decode()


def _labels(tree: Tree) -> list[str]:
    return [" ".join(node["label"].casefold().split()) for node in tree]


def _stem(word: str) -> str:
    """Without an ending that another form of the word may have; short words as they are."""
    return word[: max(4, len(word) - 3)]
