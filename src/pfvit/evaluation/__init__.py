"""Figures: recognition, poker faces, one data set against another."""
