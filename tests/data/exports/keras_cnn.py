"""Made keras_cnn.onnx: Keras 3.15.1 on TensorFlow 2.21.0, exported through tf2onnx 1.17.0 with Python 3.11."""

import keras
import numpy as np

keras.utils.set_random_seed(1)
layers = keras.layers
model = keras.Sequential(
    [
        layers.Input((8, 8, 1)),
        layers.Conv2D(4, 3, activation="relu", bias_initializer="random_normal"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(16, activation="relu", bias_initializer="random_normal"),
        layers.Dense(10, activation="softmax", bias_initializer="random_normal"),
    ]
)
model(np.zeros((2, 8, 8, 1), "float32"))
model.export("keras_cnn.onnx", format="onnx")
