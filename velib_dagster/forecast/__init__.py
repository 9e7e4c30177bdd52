"""CSV → features, Spark ML models, measures, MLflow: will a station be full, or empty, in so many minutes?"""
