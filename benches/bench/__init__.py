"""What benches/run consists of: one module for each part, and what the parts share."""
