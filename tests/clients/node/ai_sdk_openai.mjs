// Vercel's AI SDK through @ai-sdk/openai, which replays its own output as item references.
import { createOpenAI } from '@ai-sdk/openai';
import { flowsOf } from './ai_sdk_flows.mjs';

export function flows({ baseURL, apiKey, model }) {
  return flowsOf(createOpenAI({ baseURL, apiKey }).responses(model));
}
