"""One module a task, each with one public function of the same name: `train(config, run) -> dict[str, float]`."""
