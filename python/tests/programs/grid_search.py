"""scikit-learn's GridSearchCV over rankpool's workers finds what it finds alone."""

import joblib
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

import rankpool.joblib


def search():
    random = np.random.default_rng(1)
    inputs = random.normal(size=(4000, 50))  # 1.6 MB
    targets = inputs @ random.normal(size=50) + random.normal(size=4000)
    found = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0]}, cv=4).fit(inputs, targets)
    return found.best_params_, found.cv_results_["mean_test_score"].tolist()


rankpool.joblib.register()
with joblib.parallel_config("rankpool"):
    found = search()
assert found == search()
print("done")
