"""An HTTP endpoint that answers at once, and hands over by a message and a future call.

Serve it with `uvicorn 07_http:app`; run as a program it calls itself once.
"""

import asyncio
import threading

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from callboard import Runtime, WorkerActor

rt = Runtime("orders.db")
app = FastAPI(lifespan=rt.lifespan)  # starts and stops the runtime with the server


@rt.mailbox("orders", keyed=True)
class Order(WorkerActor):
    state: list[str]  # the steps so far

    async def on_receive(self, step: str) -> None:  # on the server's event loop
        self.state.append(step)


@app.post("/orders/{number}", status_code=202)
def place(number: int) -> dict[str, int]:  # plain `def`: a tell waits for the disk
    with rt.transaction() as tx:
        tx.tell(Order, "packed", key=number)
        tx.tell(Order, "asked for a review", key=number, after=1.0)
    return {"accepted": number}


@app.get("/orders/{number}")
def look(number: int) -> dict[str, list[str]]:
    return {"steps": rt.state(Order, number)}


async def main() -> None:
    handled = threading.Semaphore(0)
    rt.events.subscribe(lambda _: handled.release(), "message.handled")
    http = AsyncClient(transport=ASGITransport(app), base_url="http://shop")
    async with rt.lifespan(app), http:
        answer = await http.post("/orders/7")
        print(answer.status_code, answer.json())
        for _ in range(2):
            await asyncio.to_thread(handled.acquire)
            print((await http.get("/orders/7")).json())


if __name__ == "__main__":
    asyncio.run(main())

# Output:
# > 202 {'accepted': 7}
# > {'steps': ['packed']}
# > {'steps': ['packed', 'asked for a review']}
