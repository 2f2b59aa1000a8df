"""Command line tools: `python -m ipex_quant.tools.<name>`."""
