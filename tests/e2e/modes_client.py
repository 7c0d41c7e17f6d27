"""Every mode of the vendor's quick start through PyPI `openai` and LangChain's OpenAI client; exits 1 at a wrong answer.

Usage: modes_client.py BASE_URL MODEL < cases.json, where cases are [{"name", "messages", "answer", "extra"}].
"""

import json
import sys

import openai
from langchain_openai import ChatOpenAI


def main() -> int:
    base_url, model = sys.argv[1:3]
    cases = json.load(sys.stdin)
    client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=60)
    chain = ChatOpenAI(base_url=base_url, api_key="none", model=model, max_retries=0, timeout=60)

    def whole(case: dict) -> str:
        answer = client.chat.completions.create(model=model, messages=case["messages"], extra_body=case["extra"])
        return answer.choices[0].message.content or ""

    def streamed(case: dict) -> str:
        chunks = client.chat.completions.create(
            model=model, messages=case["messages"], extra_body=case["extra"], stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    def langchain(case: dict) -> str:
        return chain.invoke(case["messages"], extra_body=case["extra"]).text

    def langchain_streamed(case: dict) -> str:
        return "".join(chunk.text for chunk in chain.stream(case["messages"], extra_body=case["extra"]))

    wrong = 0
    requests = [{"messages": case["messages"], **case["extra"]} for case in cases]
    batch = client.post("/batch/chat/completions", cast_to=object, body={"model": model, "requests": requests})
    for case, item in zip(cases, batch["data"], strict=True):
        answer = item["choices"][0]["message"]["content"] if "choices" in item else item["error"]
        if answer != case["answer"]:
            wrong += 1
            print(f"batch, {case['name']}: {answer!r}, expected {case['answer']!r}", file=sys.stderr)
    for ask in (whole, streamed, langchain, langchain_streamed):
        for case in cases:
            answer = ask(case)
            if answer != case["answer"]:
                wrong += 1
                print(f"{ask.__name__}, {case['name']}: {answer!r}, expected {case['answer']!r}", file=sys.stderr)
    print(f"{len(cases)} modes, five ways: {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
