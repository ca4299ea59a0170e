# A station on an NVIDIA GPU that TensorRT-RTX serves. Research use only. Not for diagnosis.
# Built in the folder that deploy/wheelhouse/make writes (x86_64, Python 3.10). TensorRT-RTX is fetched, by
# the digests in constraints/rtx.txt. The driver comes from the host, through NVIDIA's container toolkit.
#   docker build -f containers/cuda.Dockerfile -t edgeapl:cuda .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --gpus all \
#     --device /dev/video0 --group-add video --env-file token.env -p 8765:8765 --restart always \
#     -v edgeapl-state:/var/lib/edgeapl -v edgeapl-results:/results edgeapl:cuda
# token.env holds EDGEAPL_TOKEN=WORD, readable by root alone.
FROM nvidia/cuda:13.0.1-base-ubuntu22.04

# The archive of the distribution keeps no old versions, so none can be pinned.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 python3-venv \
 && rm -rf /var/lib/apt/lists/*

RUN groupadd --system --gid 880 edgeapl \
 && useradd --system --uid 880 --gid edgeapl --home-dir /var/lib/edgeapl --shell /usr/sbin/nologin edgeapl \
 && install -d -o edgeapl -g edgeapl /var/lib/edgeapl /results

COPY . /opt/archive
RUN bash /opt/archive/install /opt/edgeapl \
 && /opt/edgeapl/bin/pip install --no-cache-dir --require-hashes -r /opt/archive/constraints/rtx.txt \
 && rm -r /opt/archive/wheels

ENV PATH=/opt/edgeapl/bin:$PATH HOME=/var/lib/edgeapl XDG_STATE_HOME=/var/lib/edgeapl PYTHONDONTWRITEBYTECODE=1
# By number: a host that refuses root reads no names.
USER 880:880
WORKDIR /results
VOLUME ["/var/lib/edgeapl", "/results"]
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=1800s --retries=3 CMD ["python3", "/opt/archive/containers/healthcheck.py"]
# SIGTERM closes the open slide and commits its verdict within 3 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["edgeapl"]
# From outside the container the page is reached with a token alone: EDGEAPL_TOKEN.
CMD ["watch", "camera0", "--page", "--host", "0.0.0.0", "--out", "/results"]
