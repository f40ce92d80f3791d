// The `openai` package for Node: create, stream helper, parse, tool loops, state.
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const Forecast = z.object({ city: z.string(), degrees: z.number() });
const look = {
  type: 'function', name: 'look', strict: true,
  parameters: {
    type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false,
  },
};

export function flows({ baseURL, apiKey, model }) {
  const client = new OpenAI({ baseURL, apiKey });
  const outputFor = (response) => {
    const call = response.output.find((item) => item.type === 'function_call');
    return { type: 'function_call_output', call_id: call.call_id, output: 'sunny' };
  };
  return {
    async plain() {
      return (await client.responses.create({ model, input: 'hello' })).output_text;
    },
    async streamed() {
      let text = '';
      for await (const event of await client.responses.create({ model, input: 'hello', stream: true })) {
        if (event.type === 'response.output_text.delta') text += event.delta;
      }
      return text;
    },
    async stream_helper() {
      const stream = client.responses.stream({ model, input: 'hello', reasoning: { effort: 'low', summary: 'auto' } });
      return (await stream.finalResponse()).output_text;
    },
    async structured() {
      const text = { format: zodTextFormat(Forecast, 'forecast') };
      return (await client.responses.parse({ model, input: 'Rome?', text })).output_parsed;
    },
    async tool_loop() {
      const settings = { model, tools: [look], reasoning: { effort: 'low' } };
      const first = await client.responses.create({ ...settings, input: 'How is it?' });
      const next = { input: [outputFor(first)], previous_response_id: first.id };
      return (await client.responses.create({ ...settings, ...next })).output_text;
    },
    async tool_loop_streamed_without_state() {
      const settings = {
        model, tools: [look], reasoning: { effort: 'low' }, store: false, include: ['reasoning.encrypted_content'],
      };
      const history = [{ role: 'user', content: 'How is it?' }];
      const first = await client.responses.stream({ ...settings, input: history }).finalResponse();
      history.push(...first.output, outputFor(first));
      return (await client.responses.stream({ ...settings, input: history }).finalResponse()).output_text;
    },
    async turns() {
      const first = await client.responses.create({ model, input: 'one' });
      const second = await client.responses.create({ model, input: 'two', previous_response_id: first.id });
      const found = await client.responses.retrieve(second.id);
      return found.output_text;
    },
  };
}
