// How Pi, which speaks no MCP, asks the operator for access: it takes the tools of the bottle's own MCP server as they
// are, and posts each call to it. Without that server there are no tools, and Pi starts all the same.

const server = process.env.CARBOY_MCP_URL;
const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };

// One JSON-RPC call. An answer that takes its time comes as events: comments while it waits, then the result.
async function call(method: string, params: object, signal?: AbortSignal): Promise<any> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const answer = await fetch(server!, { method: "POST", headers, body, signal });
  const text = await answer.text();
  const lines = text.split("\n").filter((line) => line.startsWith("data:"));
  const messages = lines.length ? lines.map((line) => line.slice(5)) : [text];
  for (const message of messages.map((one) => JSON.parse(one))) {
    if (message.error) throw new Error(message.error.message);
    if (message.result) return message.result;
  }
  throw new Error("the bottle's MCP server gave no answer");
}

export default async function (pi: any) {
  if (!server) return;
  const { tools } = await call("tools/list", {}, AbortSignal.timeout(10_000));
  for (const tool of tools) {
    pi.registerTool({
      name: tool.name,
      label: tool.title ?? tool.name,
      description: tool.description,
      promptSnippet: tool.title ?? tool.name,
      parameters: tool.inputSchema,
      async execute(_id: string, params: object, signal?: AbortSignal) {
        const result = await call("tools/call", { name: tool.name, arguments: params }, signal);
        if (result.isError) throw new Error(result.content.map((part: any) => part.text).join("\n"));
        return { content: result.content, details: result.structuredContent };
      },
    });
  }
}
