"""Jobs: one fine-tuning job at Azure, cared for from draft to its end."""
