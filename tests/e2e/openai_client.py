"""Asks the server about pictures with the PyPI `openai` client, streaming and not; exits 1 on the first wrong answer.

Usage: openai_client.py BASE_URL MODEL QUESTION < cases.json, where cases are [{"url": ..., "caption": ...}].
"""

import json
import sys

import openai


def ask(client: openai.OpenAI, model: str, question: str, url: str, stream: bool) -> tuple[str, int]:
    """The answer, and in how many pieces it came."""
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    messages = [{"role": "user", "content": content}]
    if not stream:
        answer = client.chat.completions.create(model=model, messages=messages)
        assert answer.usage is not None and answer.usage.completion_tokens > 0
        return answer.choices[0].message.content or "", 1
    pieces = []
    usage = None
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(model=model, messages=messages, stream=True, stream_options=options):
        if chunk.choices and chunk.choices[0].delta.content:
            pieces.append(chunk.choices[0].delta.content)
        usage = chunk.usage or usage
    assert usage is not None and usage.completion_tokens > 0
    return "".join(pieces), len(pieces)


def main() -> int:
    base_url, model, question = sys.argv[1:4]
    cases = json.load(sys.stdin)
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=60)
    most_pieces = 0
    for case in cases:
        for stream in (True, False):
            answer, num_pieces = ask(client, model, question, case["url"], stream)
            most_pieces = max(most_pieces, num_pieces)
            if answer != case["caption"]:
                print(f"stream={stream}: {answer!r}, expected {case['caption']!r}", file=sys.stderr)
                return 1
    assert most_pieces > 3, f"every answer came in at most {most_pieces} pieces"
    try:
        client.chat.completions.create(model="no-such-model", messages=[{"role": "user", "content": "Hello"}])
    except openai.NotFoundError as error:
        assert error.code == "model_not_found", error.code
    else:
        print("an unknown model was answered", file=sys.stderr)
        return 1
    print(f"{len(cases)} pictures, streamed and not: all right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
