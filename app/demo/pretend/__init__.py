"""A pretend internet for the demo and the tests: scripted LLM APIs and an echo upstream, on loopback only."""
