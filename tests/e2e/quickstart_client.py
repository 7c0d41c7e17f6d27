"""Runs the snippets of a page one after the other, as a reader would; prints what each one's last line comes to.

Usage: quickstart_client.py < {"base_url", "model", "names": {name: value}, "snippets": [...]}
"""

import ast
import json
import sys


def run(snippet: str, names: dict) -> object:
    """The value of the snippet's last line, where that is an expression."""
    tree = ast.parse(snippet)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "snippet", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "snippet", "eval"), names)


def main() -> None:
    task = json.load(sys.stdin)
    names = dict(task["names"])
    values = []
    for snippet in task["snippets"]:
        snippet = snippet.replace("http://127.0.0.1:8000", task["base_url"]).replace("InternVL3-1B", task["model"])
        # A small model that is asked for a poem may go on for ever.
        snippet = snippet.replace("extra_body=extra", "extra_body={'max_tokens': 32} | extra")
        snippet = snippet.replace('"requests": requests', '"requests": requests, "max_tokens": 32')
        values.append(run(snippet, names))
    print(json.dumps({"values": values, "responses": names.get("responses")}))


if __name__ == "__main__":
    main()
