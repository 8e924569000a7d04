"""What a filter for text looks at: prompt and reply of an exchange, each as one text."""

from __future__ import annotations

from nightdesk.model.exchange import Exchange

SEARCH_CHARS = 200_000
"""Of each prompt and reply, the part that is looked at."""


def searched_texts(exchange: Exchange) -> tuple[str, str]:
    """Prompt and reply as the text index sees them. Changing this needs a new index: words are erased
    from it by telling it the very text that was added.
    """
    return prompt_text(exchange)[:SEARCH_CHARS], reply_text(exchange)[:SEARCH_CHARS]


def prompt_text(exchange: Exchange) -> str:
    """What the client asked, as one text: system, prompt, messages."""
    if exchange.prompt is None:
        return ""
    parts = [exchange.prompt.system or "", exchange.prompt.prompt or ""]
    parts += [message.content for message in exchange.prompt.messages]
    return "\n".join(part for part in parts if part)


def reply_text(exchange: Exchange) -> str:
    """What the model said, as one text: reply, thinking, tool calls."""
    calls = [f"{call.name} {call.arguments}" for call in exchange.tool_calls[:100]]
    return "\n".join(part for part in (exchange.text, exchange.thinking, *calls) if part)


def searched_text(exchange: Exchange) -> str:
    """Both as one."""
    return "\n".join(searched_texts(exchange))
