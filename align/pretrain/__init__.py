"""Pretraining from nothing: tokenizer, corpus, packing, optimizers and the loop."""
