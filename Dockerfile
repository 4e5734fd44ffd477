# syntax=docker/dockerfile:1
# The service: pfvit serve, without torch, as a user without rights; runs with a read-only root file system.
FROM python:3.12-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml README.md MODEL_CARD.md LICENSE requirements.lock ./
COPY src src
RUN python -m venv /opt/pfvit \
    && /opt/pfvit/bin/pip install --no-cache-dir --require-hashes --no-deps --requirement requirements.lock \
    && /opt/pfvit/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="pfvit" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/pfvit /opt/pfvit
ENV PATH=/opt/pfvit/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["pfvit", "serve", "--host", "0.0.0.0"]
