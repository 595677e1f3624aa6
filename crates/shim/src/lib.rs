//! The per-container supervisor: process, terminal, log file and exit record.
