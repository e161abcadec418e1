"""Name the loss that training minimizes, and the metrics of the history."""

# Labels are codes of classes, so that no array of one-hot rows is made.
LOSS = "sparse_categorical_crossentropy"
METRICS = ("accuracy",)
