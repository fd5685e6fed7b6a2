"""A deployment that Azure has and no row names becomes a row again. It knows nothing of how it was found."""
