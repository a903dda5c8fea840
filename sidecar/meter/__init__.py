"""The usage meter: bytes of an LLM provider's answer in, usage out.

Pure: no I/O, no clock, no proxy. It reads copies of what passes and never changes, holds back or keeps a byte of it;
what it reads is hostile, so nothing here raises on content and every buffer has a bound. `meter.Meter` reads HTTP
answers, `websocket.SocketMeter` sockets; docs/metering.md describes both. Nothing is imported here: the app uses the
values (`usage`, `faults`, `prices`) without the decoders.
"""
