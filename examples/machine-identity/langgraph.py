"""pip install langchain-mcp-adapters, then run with Python 3.10 or newer."""

import asyncio
import os

from langchain_mcp_adapters.client import MultiServerMCPClient

IDENTITY = os.environ.get("IDENTITY", "/opt/machine-id/identity")
PROXY = os.environ.get("PROXY", "example.teleport.sh:443")
SERVER = os.environ.get("SERVER", "my-mcp-server")


async def main() -> None:
    client = MultiServerMCPClient(
        {
            SERVER: {
                "command": "tsh",
                "args": ["mcp", "connect", "-i", IDENTITY, "--proxy", PROXY, SERVER],
                "transport": "stdio",
            },
        }
    )
    # What a graph gets: create_react_agent(model, tools)
    tools = await client.get_tools()
    print(" ".join(tool.name for tool in tools))

    echo = next(tool for tool in tools if tool.name == "echo")
    print(await echo.ainvoke({"message": "hello from LangGraph"}))


asyncio.run(main())
