"""The launch flow, a screen for each step: agent, bottles, task and name, preflight, start. Escape goes back one step
and keeps everything; an error says what to mend on the step where it is mended."""
