"""Asks the server about pictures with the PyPI `openai` client, streaming and not; exits 1 on the first wrong answer.

Usage: openai_client.py BASE_URL MODEL QUESTION < cases.json, where cases are [{"url": ..., "caption": ...}].
"""

import json
import sys
import time

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


def check_files(client: openai.OpenAI) -> None:
    """Uploads, pages through, reads back and deletes files."""
    made = [client.files.create(file=(f"{i}.txt", b"%d" % i * 1000, "text/plain"), purpose="user_data") for i in range(3)]
    assert [file.id for file in client.files.list(purpose="user_data", order="asc", limit=2)] == [file.id for file in made]
    assert client.files.retrieve(made[1].id) == made[1] and made[1].bytes == 1000
    assert client.files.content(made[2].id).read() == b"2" * 1000
    for file in made:
        assert client.files.delete(file.id).deleted
    try:
        client.files.content(made[0].id)
    except openai.NotFoundError as error:
        assert "No such File object" in str(error), error
    else:
        raise AssertionError("a deleted file was read")


def check_batches(client: openai.OpenAI, model: str, question: str, cases: list[dict]) -> None:
    """Runs the cases as a batch from a file; one of a model that there is not comes back in the error file."""
    lines = []
    for i, case in enumerate([*cases, {"url": cases[0]["url"], "model": "no-such-model"}]):
        content = [{"type": "image_url", "image_url": {"url": case["url"]}}, {"type": "text", "text": question}]
        body = {"model": case.get("model", model), "messages": [{"role": "user", "content": content}]}
        lines.append(json.dumps({"custom_id": f"{i}", "method": "POST", "url": "/v1/chat/completions", "body": body}))
    file = client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"of": "a test"}
    )
    end = time.monotonic() + 60
    while batch.status != "completed":
        assert time.monotonic() < end and batch.status not in ("failed", "expired", "cancelled"), batch
        time.sleep(0.1)
        batch = client.batches.retrieve(batch.id)
    assert batch.request_counts is not None and batch.request_counts.completed == len(cases), batch
    answers = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert [answer["response"]["body"]["choices"][0]["message"]["content"] for answer in answers] == [
        case["caption"] for case in cases
    ]
    error = json.loads(client.files.content(batch.error_file_id).text)
    assert error["custom_id"] == f"{len(cases)}" and error["response"]["status_code"] == 404, error
    assert batch.id in [each.id for each in client.batches.list(limit=1)]


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
    check_files(client)
    check_batches(client, model, question, cases)
    print(f"{len(cases)} pictures, streamed and not, files and batches: all right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
