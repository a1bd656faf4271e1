"""What users write: functions, methods, classes, attributes, managers, workers. It stands on `_core`."""
