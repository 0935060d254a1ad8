"""What every scenario stands on."""
