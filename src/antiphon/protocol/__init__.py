"""The Responses API as types and rules; imports nothing of ours."""
