"""Microsoft's Python client (PyPI azure-devops) does the task-agent calls against the sandbox, through its Connection.

The organization's URL, its token and a pool's name come by the environment. Prints one line of JSON: what it has seen.
"""

import json
import os

from azure.devops.connection import Connection
from azure.devops.exceptions import AzureDevOpsServiceError
from azure.devops.v7_1.task_agent.models import TaskAgent, TaskAgentPool
from msrest.authentication import BasicAuthentication

url = os.environ["SANDBOX_URL"]
pool_name = os.environ["SANDBOX_POOL"]


def connect(token):
    return Connection(base_url=url, creds=BasicAuthentication("", token))


connection = connect(os.environ["SANDBOX_TOKEN"])
connection.authenticate()
client = connection.clients.get_task_agent_client()

pools = client.get_agent_pools(pool_name=pool_name, pool_type="automation")
assert [pool.name for pool in pools] == [pool_name], pools
pool = pools[0]
assert client.get_agent_pools(pool_name="absent") == []
assert client.get_agent_pool(pool.id).name == pool_name
assert [found.id for found in client.get_agent_pools_by_ids([pool.id])] == [pool.id]

made = client.add_agent(
    TaskAgent(name="by-python", version="4.260.0", max_parallelism=1, system_capabilities={"Agent.OS": "Linux"}),
    pool.id,
)
assert made.id > 0 and made.name == "by-python" and made.status == "offline", made
listed = client.get_agents(pool.id, agent_name="By-Python", include_capabilities=True, include_assigned_request=True)
assert [agent.id for agent in listed] == [made.id], listed
assert listed[0].system_capabilities["Agent.OS"] == "Linux", listed[0]
assert client.get_agent(pool.id, made.id).version == "4.260.0"

try:
    client.add_agent(TaskAgent(name="by-python", version="4.260.0"), pool.id)
    raise SystemExit("a name was given twice")
except AzureDevOpsServiceError as error:
    assert error.type_key == "TaskAgentExistsException", error.type_key

changed = client.update_agent(TaskAgent(id=made.id, name="by-python", enabled=False), pool.id, made.id)
assert changed.enabled is False, changed
replaced = client.replace_agent(
    TaskAgent(id=made.id, name="by-python", version="4.261.0", enabled=True, system_capabilities={"docker": "1"}),
    pool.id,
    made.id,
)
assert replaced.version == "4.261.0" and replaced.enabled is True, replaced
assert [agent.id for agent in client.get_agents(pool.id, demands=["docker"])] == [made.id]
client.delete_agent(pool.id, made.id)
assert all(agent.id != made.id for agent in client.get_agents(pool.id))

try:
    client.get_agent_pool(4711)
    raise SystemExit("a pool was found that is not there")
except AzureDevOpsServiceError as error:
    assert error.type_key == "TaskAgentPoolNotFoundException", error.type_key

second = client.add_agent_pool(TaskAgentPool(name="made by Python", pool_type="automation"))
renamed = client.update_agent_pool(TaskAgentPool(name="renamed by Python"), second.id)
assert renamed.name == "renamed by Python", renamed
client.delete_agent_pool(second.id)

try:
    connect("wrong").clients.get_location_client().get_resource_areas()
    raise SystemExit("a wrong token was accepted")
except Exception as error:  # The client has no one type for it.
    assert "401" in str(error) or "not authorized" in str(error), error

print(json.dumps({"pool": pool.id, "agent": made.id}))
