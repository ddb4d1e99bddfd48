// A DService in another language: any HTTP server on the port that dservice.toml names. Nothing here knows of the network.
import { createServer } from "node:http";

const server = createServer((request, response) => {
  let body = "";
  request.on("data", (part) => (body += part));
  request.on("end", () => {
    const name = new URL(request.url, "http://localhost").searchParams.get("name") ?? "world";
    const words = body.split(/\s+/).filter(Boolean).length;
    response.setHeader("Content-Type", "text/plain; charset=utf-8");
    response.end(request.method === "POST" ? `${words} words\n` : `Hello, ${name}!\n`);
  });
});

server.listen(Number(process.env.PORT), "127.0.0.1");
