// @openai/agents: runs, streamed runs, tools, structured output, turns.
import { Agent, OpenAIResponsesModel, run, setTracingDisabled, tool } from '@openai/agents';
import OpenAI from 'openai';
import { z } from 'zod';

setTracingDisabled(true);
const look = tool({
  name: 'look', description: 'Weather of a city.', parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

export function flows({ baseURL, apiKey, model }) {
  const backend = new OpenAIResponsesModel(new OpenAI({ baseURL, apiKey }), model);
  const agent = (more = {}) => new Agent({ name: 'a', instructions: 'Be brief.', model: backend, ...more });
  return {
    async plain() {
      return (await run(agent(), 'hello')).finalOutput;
    },
    async tool_loop() {
      return (await run(agent({ tools: [look] }), 'How is it?')).finalOutput;
    },
    async tool_loop_streamed() {
      const result = await run(agent({ tools: [look] }), 'How is it?', { stream: true });
      for await (const _ of result) { /* read to the end */ }
      await result.completed;
      return result.finalOutput;
    },
    async structured() {
      const outputType = z.object({ city: z.string(), degrees: z.number() });
      return (await run(agent({ outputType }), 'Rome?')).finalOutput;
    },
    async turns() {
      const first = await run(agent(), 'one');
      const history = [...first.history, { role: 'user', content: 'two' }];
      return (await run(agent(), history)).finalOutput;
    },
  };
}
