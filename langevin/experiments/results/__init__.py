"""From records to statistics, sentences and plots."""
