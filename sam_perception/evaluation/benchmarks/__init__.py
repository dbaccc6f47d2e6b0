"""What `sam-perception bench` measures, one module for each subject: medians of repeated runs, ratios in one run."""
