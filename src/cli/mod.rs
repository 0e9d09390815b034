//! Arguments, a file a command, views, exit codes.
