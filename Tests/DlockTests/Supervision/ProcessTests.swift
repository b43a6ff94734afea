import Testing

/// Tests with real processes and deadlines of a second or so: one at a time, because on a machine with two processors
/// they would be late for one another.
@Suite(.serialized) enum ProcessTests {}
