// Vercel's AI SDK through @ai-sdk/open-responses, which sends whole items.
import { createOpenResponses } from '@ai-sdk/open-responses';
import { flowsOf } from './ai_sdk_flows.mjs';

export function flows({ baseURL, apiKey, model }) {
  return flowsOf(createOpenResponses({ name: 'antiphon', url: `${baseURL}/responses`, apiKey })(model));
}
