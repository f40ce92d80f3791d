// The flows of Vercel's AI SDK, whichever provider package makes the model.
import { generateText, streamText, Output, stepCountIs, tool } from 'ai';
import { z } from 'zod';

const look = tool({
  description: 'Weather of a city.',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});

export function flowsOf(model) {
  const loop = { model, tools: { look }, stopWhen: stepCountIs(4), prompt: 'How is it?' };
  return {
    async plain() {
      return (await generateText({ model, prompt: 'hello' })).text;
    },
    async streamed() {
      const errors = [];
      const result = streamText({ model, prompt: 'hello', onError: ({ error }) => { errors.push(String(error)); } });
      let text = '';
      for await (const piece of result.textStream) text += piece;
      return errors.length ? { error: errors.join() } : text;
    },
    async structured() {
      const output = Output.object({ schema: z.object({ city: z.string(), degrees: z.number() }) });
      return (await generateText({ model, output, prompt: 'Rome?' })).output;
    },
    async tool_loop() {
      return (await generateText(loop)).text;
    },
    async tool_loop_streamed() {
      return await streamText(loop).text;
    },
    async turns() {
      const first = await generateText({ model, prompt: 'one' });
      const messages = [{ role: 'user', content: 'one' }, ...first.response.messages, { role: 'user', content: 'two' }];
      return (await generateText({ model, messages })).text;
    },
  };
}
