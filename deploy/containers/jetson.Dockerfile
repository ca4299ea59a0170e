# A station on a Jetson with JetPack 6. Research use only. Not for diagnosis.
# Built in the folder that deploy/wheelhouse/make writes (aarch64, Python 3.10). Only cuda-bindings are fetched.
# TensorRT 10.3, CUDA and an OpenCV with GStreamer are JetPack's.
#   docker build -f containers/jetson.Dockerfile -t edgeapl:jetson .
#   docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --runtime nvidia \
#     --device /dev/video0 --group-add video --env-file token.env -p 8765:8765 --restart always \
#     -v edgeapl-state:/var/lib/edgeapl -v edgeapl-results:/results edgeapl:jetson
# token.env holds EDGEAPL_TOKEN=WORD, readable by root alone.
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0

# The archive of the distribution keeps no old versions, so none can be pinned.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*

RUN groupadd --system --gid 880 edgeapl \
 && useradd --system --uid 880 --gid edgeapl --home-dir /var/lib/edgeapl --shell /usr/sbin/nologin edgeapl \
 && install -d -o edgeapl -g edgeapl /var/lib/edgeapl /results

COPY . /opt/archive
RUN bash /opt/archive/install /opt/edgeapl --system-site-packages \
 && /opt/edgeapl/bin/pip uninstall -y opencv-python-headless \
 && /opt/edgeapl/bin/pip install --no-cache-dir "cuda-bindings>=12.9,<13" \
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
